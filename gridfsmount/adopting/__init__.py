"""Giving foreign contents their nodes, and following what drivers do to contents."""
