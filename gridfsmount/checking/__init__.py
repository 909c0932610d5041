"""Whether a lake is whole, what to do where it is not, and the removal of what nobody needs."""
