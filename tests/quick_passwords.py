"""Password hashes for the tests: of the same algorithm, and so that any process reads them, but quick.

A hash of a million rounds takes a third of a second, and nearly every test of a page makes one.
"""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class QuickPasswordHasher(PBKDF2PasswordHasher):
    iterations = 1
