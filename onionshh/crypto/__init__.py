"""Layer 1: the cryptography. Pure: keys and bytes in, bytes out, chance as an argument.

The only importer of `cryptography` and `nacl`, whose exceptions end here: what fails is a `CryptoError`.
"""
