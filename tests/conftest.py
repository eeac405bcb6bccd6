"""What all tests share."""

from hypothesis import settings

# A law is judged by what it says, not by how long a busy machine takes to say it.
settings.register_profile("uploadsvc", deadline=None)
settings.load_profile("uploadsvc")
