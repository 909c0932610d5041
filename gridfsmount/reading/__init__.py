"""Reading contents: from the cache, else from the store, every chunk once."""
