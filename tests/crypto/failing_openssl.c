/* OpenSSL in which one chosen call fails: loaded before the real one (`failing.py`). It stands in for each
   function that `_uiv.c` calls and that can fail, counts the calls, and passes all but one on. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/err.h>
#include <openssl/evp.h>

static int seen, fails_at = -1, failing_status;

/* From now on call number `at` fails, counted from 0; -1: none. It returns `status` if it returns an int. */
void fail_at(int at, int status) { seen = 0; fails_at = at; failing_status = status; }
int calls_seen(void) { return seen; }
unsigned long errors_left(void) { return ERR_peek_error(); }

static int fails(void)
{
    if (seen++ != fails_at)
        return 0;
    ERR_raise(ERR_LIB_EVP, ERR_R_INTERNAL_ERROR);
    return 1;
}

#define STAND_IN(type, name, parameters, arguments, failed) \
    type name parameters \
    { \
        static type (*real) parameters; \
        if (real == NULL) \
            *(void **)&real = dlsym(RTLD_NEXT, #name); \
        return fails() ? failed : real arguments; \
    }

STAND_IN(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_new, (void), (), NULL)
STAND_IN(int, EVP_CipherInit_ex,
         (EVP_CIPHER_CTX *c, const EVP_CIPHER *e, ENGINE *i, const unsigned char *k, const unsigned char *v,
          int d), (c, e, i, k, v, d), failing_status)
STAND_IN(int, EVP_CIPHER_CTX_set_padding, (EVP_CIPHER_CTX *c, int p), (c, p), failing_status)
STAND_IN(int, EVP_CipherUpdate, (EVP_CIPHER_CTX *c, unsigned char *o, int *s, const unsigned char *i, int n),
         (c, o, s, i, n), failing_status)
STAND_IN(int, EVP_EncryptInit_ex,
         (EVP_CIPHER_CTX *c, const EVP_CIPHER *e, ENGINE *i, const unsigned char *k, const unsigned char *v),
         (c, e, i, k, v), failing_status)
STAND_IN(int, EVP_EncryptUpdate, (EVP_CIPHER_CTX *c, unsigned char *o, int *s, const unsigned char *i, int n),
         (c, o, s, i, n), failing_status)
STAND_IN(int, EVP_EncryptFinal_ex, (EVP_CIPHER_CTX *c, unsigned char *o, int *s), (c, o, s), failing_status)
STAND_IN(int, EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX *c, int t, int n, void *p), (c, t, n, p), failing_status)
