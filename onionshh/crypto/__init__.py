"""Layer 1: the cryptography. Pure: keys and bytes in, bytes out, randomness as an argument.

Only this folder imports `cryptography` and `nacl`. Their exceptions end here, as a `CryptoError`.
"""
