"""Measurements that the claims of the README rest on: one file, or a few, behind each sub-command of `bench`."""
