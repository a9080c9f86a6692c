/* UIV+, the wide-block cipher of one onion layer (SPEC 3): the same as uiv_python.py, compiled.

   uiv_python.py says what it is, and is the reference. What is here gives the same bytes. All primitives are
   OpenSSL's, through its public EVP functions. CPython's limited API: one build serves 3.11 and later.

   A call works on the stack and on four cipher contexts that live as long as the object. It allocates only
   what it returns. It keeps the interpreter's lock: a cell takes less than a microsecond. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <string.h>

enum { BLOCK = 16, TWEAK = 17, LEFT = 16, RIGHT = 493, KEYS = 64, STATE = 80, NONCE = 12 };

/* The counter's low six bits are clear where a cell's keystream starts. That of the next keys starts at the
   first block behind it. */
enum { LOW_CLEAR = 0xC0, UPDATE_BLOCK = (RIGHT + BLOCK - 1) / BLOCK };

typedef unsigned char byte;

typedef struct {
    EVP_CIPHER *ecb, *ctr, *gcm; /* fetched once: to look them up by name takes longer than a cell */
} Ciphers;

typedef struct {
    PyObject_HEAD
    EVP_CIPHER_CTX *block;     /* AES-128 under KB, in the direction of the type */
    EVP_CIPHER_CTX *universal; /* GMAC under KU */
    EVP_CIPHER_CTX *keystream; /* AES-128-CTR under K */
    EVP_CIPHER_CTX *start;     /* AES-128 under B */
    PyObject *other_universal; /* other hashes than these two, for published vectors; else NULL. They must */
    PyObject *other_start;     /* not refer to the layer: the garbage collector does not look in here */
} Layer;

static const byte FIXED_NONCE[NONCE], ZEROS[STATE];

/* Every function below that returns an int returns 1 if all went well, as OpenSSL does. */

static int encipher_block(EVP_CIPHER_CTX *context, const byte in[BLOCK], byte out[BLOCK])
{
    int size; /* EVP_CipherUpdate goes in the direction that the context was made for */
    return EVP_CipherUpdate(context, out, &size, in, BLOCK) && size == BLOCK;
}

/* The 16 bytes of a call that other hashes answer. Takes the reference to `answer`, which may be NULL. */
static int take_block(PyObject *answer, byte out[BLOCK])
{
    int fine = answer != NULL && PyBytes_Check(answer) && PyBytes_Size(answer) == BLOCK;
    if (fine)
        memcpy(out, PyBytes_AsString(answer), BLOCK);
    else if (answer != NULL)
        PyErr_SetString(PyExc_ValueError, "a hash gives 16 bytes");
    Py_XDECREF(answer);
    return fine;
}

/* XL to Y, or Y to XL: the block cipher between two masks, the universal hash over tweak || XR. Under its
   fixed nonce that hash is sound only while it stays in here: see uiv_python.py. */
static int masked_block(Layer *self, const byte *tweak, const byte *left, const byte *right, byte *out)
{
    byte data[TWEAK + RIGHT], mask[BLOCK], block[BLOCK];
    EVP_CIPHER_CTX *gmac = self->universal;
    int at, size, fine;
    memcpy(data, tweak, TWEAK);
    memcpy(data + TWEAK, right, RIGHT);
    if (self->other_universal != NULL)
        fine = take_block(PyObject_CallMethod(self->other_universal, "encrypt", "y#y#y#", FIXED_NONCE,
                                              (Py_ssize_t)NONCE, "", (Py_ssize_t)0, data,
                                              (Py_ssize_t)sizeof data), mask);
    else
        fine = EVP_EncryptInit_ex(gmac, NULL, NULL, NULL, FIXED_NONCE) &&
               EVP_EncryptUpdate(gmac, NULL, &size, data, sizeof data) &&
               EVP_EncryptFinal_ex(gmac, mask, &size) &&
               EVP_CIPHER_CTX_ctrl(gmac, EVP_CTRL_AEAD_GET_TAG, BLOCK, mask) > 0;
    if (fine) {
        for (at = 0; at < BLOCK; at++)
            block[at] = left[at] ^ mask[at];
        fine = encipher_block(self->block, block, out);
        for (at = 0; at < BLOCK; at++)
            out[at] ^= mask[at];
    }
    OPENSSL_cleanse(data, sizeof data);
    OPENSSL_cleanse(mask, sizeof mask);
    OPENSSL_cleanse(block, sizeof block);
    return fine;
}

/* Masks `size` bytes with the keystream that starts at `first` blocks behind where `seed` says. */
static int mask_stream(Layer *self, const byte seed[BLOCK], byte first, const byte *in, int size, byte *out)
{
    byte counter[BLOCK];
    int done = 0, fine;
    if (self->other_start != NULL)
        fine = take_block(PyObject_CallMethod(self->other_start, "update", "y#", seed, (Py_ssize_t)BLOCK),
                          counter);
    else
        fine = encipher_block(self->start, seed, counter);
    if (fine) {
        counter[BLOCK - 1] = (byte)((counter[BLOCK - 1] & LOW_CLEAR) | first);
        fine = EVP_EncryptInit_ex(self->keystream, NULL, NULL, NULL, counter) &&
               EVP_EncryptUpdate(self->keystream, out, &done, in, size) && done == size;
    }
    OPENSSL_cleanse(counter, sizeof counter);
    return fine;
}

/* Arguments and results. */

static const byte *sized_bytes(PyObject *value, Py_ssize_t size, const char *name)
{
    if (!PyBytes_Check(value))
        PyErr_Format(PyExc_TypeError, "%s must be bytes", name);
    else if (PyBytes_Size(value) != size)
        PyErr_Format(PyExc_ValueError, "%s must have %zd bytes, not %zd", name, size, PyBytes_Size(value));
    else
        return (const byte *)PyBytes_AsString(value);
    return NULL;
}

/* What a call returns: `result` if all went well. If not, nothing of what it wrote stays anywhere. */
static PyObject *ended(int fine, PyObject *result)
{
    if (fine)
        return result;
    if (result != NULL)
        OPENSSL_cleanse(PyBytes_AsString(result), (size_t)PyBytes_Size(result));
    Py_XDECREF(result);
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_RuntimeError, "OpenSSL could not encipher a cell");
    ERR_clear_error(); /* else Python's ssl would take it for its own */
    return NULL;
}

static PyObject *cell(Layer *self, PyObject *const *arguments, Py_ssize_t count, int encrypts)
{
    const byte *tweak, *left, *right;
    byte *new_left, *new_right;
    PyObject *one, *other, *parts = NULL;
    int fine = 0;
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "a cell is 3 arguments: tweak, left, right; not %zd", count);
    if ((tweak = sized_bytes(arguments[0], TWEAK, "tweak")) == NULL ||
        (left = sized_bytes(arguments[1], LEFT, "left")) == NULL ||
        (right = sized_bytes(arguments[2], RIGHT, "right")) == NULL)
        return NULL;
    one = PyBytes_FromStringAndSize(NULL, LEFT);
    other = PyBytes_FromStringAndSize(NULL, RIGHT);
    if (one != NULL && other != NULL) {
        new_left = (byte *)PyBytes_AsString(one);
        new_right = (byte *)PyBytes_AsString(other);
        if (encrypts)
            fine = masked_block(self, tweak, left, right, new_left) &&
                   mask_stream(self, new_left, 0, right, RIGHT, new_right);
        else
            fine = mask_stream(self, left, 0, right, RIGHT, new_right) &&
                   masked_block(self, tweak, left, new_right, new_left);
        /* Nobody sees the parts before they are whole: a tuple is known to the garbage collector. */
        fine = fine && (parts = PyTuple_Pack(2, one, other)) != NULL;
    }
    one = ended(fine, one);
    other = ended(fine, other);
    Py_XDECREF(one);
    Py_XDECREF(other);
    return parts;
}

static PyObject *encrypt(Layer *self, PyObject *const *arguments, Py_ssize_t count)
{
    return cell(self, arguments, count, 1);
}

static PyObject *decrypt(Layer *self, PyObject *const *arguments, Py_ssize_t count)
{
    return cell(self, arguments, count, 0);
}

static PyObject *next_state(Layer *self, PyObject *argument)
{
    const byte *seed = sized_bytes(argument, BLOCK, "seed");
    PyObject *state = seed == NULL ? NULL : PyBytes_FromStringAndSize(NULL, STATE);
    if (state == NULL)
        return NULL;
    return ended(mask_stream(self, seed, UPDATE_BLOCK, ZEROS, STATE, (byte *)PyBytes_AsString(state)), state);
}

/* Objects. A new one is whole or not there: all is done in `new`. */

static EVP_CIPHER_CTX *keyed(const EVP_CIPHER *cipher, const byte *key, int encrypts)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context != NULL && EVP_CipherInit_ex(context, cipher, NULL, key, NULL, encrypts) &&
        EVP_CIPHER_CTX_set_padding(context, 0))
        return context;
    EVP_CIPHER_CTX_free(context);
    ERR_clear_error();
    return NULL;
}

static PyObject *new_layer(PyTypeObject *type, PyObject *arguments, PyObject *named, int encrypts)
{
    static char *names[] = {"keys", "hashes", NULL};
    const Ciphers *ciphers = PyType_GetModuleState(type);
    PyObject *given, *hashes = Py_None;
    const byte *keys;
    Layer *self;
    int whole = 0;
    if (ciphers == NULL || !PyArg_ParseTupleAndKeywords(arguments, named, "O|O", names, &given, &hashes) ||
        (keys = sized_bytes(given, KEYS, "keys")) == NULL ||
        (self = (Layer *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0)) == NULL)
        return NULL; /* the memory of a new object is zeros */
    Py_INCREF(given); /* `hashes` runs code, which may reach and clear the dict of the named arguments */
    Py_INCREF(hashes);
    self->block = keyed(ciphers->ecb, keys, encrypts);
    self->universal = keyed(ciphers->gcm, keys + 16, 1);
    self->keystream = keyed(ciphers->ctr, keys + 32, 1);
    self->start = keyed(ciphers->ecb, keys + 48, 1);
    if (!self->block || !self->universal || !self->keystream || !self->start)
        PyErr_SetString(PyExc_RuntimeError, "OpenSSL could not make a cipher");
    else if (hashes == Py_None ||
             ((self->other_universal = PyObject_CallMethod(hashes, "universal", "y#", keys + 16,
                                                           (Py_ssize_t)BLOCK)) != NULL &&
              (self->other_start = PyObject_CallMethod(hashes, "counter_start", "y#", keys + 48,
                                                       (Py_ssize_t)BLOCK)) != NULL))
        whole = 1;
    Py_DECREF(given);
    Py_DECREF(hashes);
    if (whole)
        return (PyObject *)self;
    Py_DECREF(self);
    return NULL;
}

static PyObject *new_encryptor(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    return new_layer(type, arguments, named, 1);
}

static PyObject *new_decryptor(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    return new_layer(type, arguments, named, 0);
}

static void destroy(Layer *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    EVP_CIPHER_CTX_free(self->block); /* cleanses the key; NULL is fine */
    EVP_CIPHER_CTX_free(self->universal);
    EVP_CIPHER_CTX_free(self->keystream);
    EVP_CIPHER_CTX_free(self->start);
    Py_XDECREF(self->other_universal);
    Py_XDECREF(self->other_start);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

#define METHOD(function) ((PyCFunction)(void (*)(void))function)

static PyMethodDef encryptor_methods[] = {
    {"encrypt", METHOD(encrypt), METH_FASTCALL, "XL of 16 bytes and XR of 493, under a tweak of 17 bytes."},
    {"next_state", METHOD(next_state), METH_O, "The next keys 64 and nonce 16, from a 16-byte seed."},
    {NULL},
};
static PyMethodDef decryptor_methods[] = {
    {"decrypt", METHOD(decrypt), METH_FASTCALL, "XL of 16 bytes and XR of 493, under a tweak of 17 bytes."},
    {"next_state", METHOD(next_state), METH_O, "The next keys 64 and nonce 16, from a 16-byte seed."},
    {NULL},
};
static PyType_Slot encryptor_slots[] = {
    {Py_tp_new, new_encryptor}, {Py_tp_dealloc, destroy}, {Py_tp_methods, encryptor_methods}, {0}};
static PyType_Slot decryptor_slots[] = {
    {Py_tp_new, new_decryptor}, {Py_tp_dealloc, destroy}, {Py_tp_methods, decryptor_methods}, {0}};

#define FLAGS (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE)
static PyType_Spec encryptor = {"onionshh.crypto._uiv.UIVEncryptor", sizeof(Layer), 0, FLAGS, encryptor_slots};
static PyType_Spec decryptor = {"onionshh.crypto._uiv.UIVDecryptor", sizeof(Layer), 0, FLAGS, decryptor_slots};

/* The module. */

static int add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int done = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return done;
}

static int execute(PyObject *module)
{
    Ciphers *ciphers = PyModule_GetState(module);
    ciphers->ecb = EVP_CIPHER_fetch(NULL, "AES-128-ECB", NULL);
    ciphers->ctr = EVP_CIPHER_fetch(NULL, "AES-128-CTR", NULL);
    ciphers->gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    if (ciphers->ecb == NULL || ciphers->ctr == NULL || ciphers->gcm == NULL) {
        PyErr_SetString(PyExc_ImportError, "this OpenSSL has no AES-128");
        ERR_clear_error();
        return -1;
    }
    return add_type(module, &encryptor) < 0 || add_type(module, &decryptor) < 0 ? -1 : 0;
}

static void release(void *module)
{
    Ciphers *ciphers = PyModule_GetState(module);
    EVP_CIPHER_free(ciphers->ecb);
    EVP_CIPHER_free(ciphers->ctr);
    EVP_CIPHER_free(ciphers->gcm);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_uiv", "UIV+, compiled.", sizeof(Ciphers), NULL, slots, NULL, NULL, release};

PyMODINIT_FUNC PyInit__uiv(void)
{
    return PyModuleDef_Init(&definition);
}
