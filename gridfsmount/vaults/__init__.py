"""Where backups live: vaults, and what is in them."""
