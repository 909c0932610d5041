"""`/snapshots`: what the vaults hold, as folders that never change."""
