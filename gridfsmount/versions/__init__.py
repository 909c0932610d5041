"""What is in a version: listed in order, hashed, compared; blocking code, in threads."""
