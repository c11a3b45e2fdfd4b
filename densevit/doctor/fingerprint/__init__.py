"""What a set of scans is like, and a config that trains on it: `densevit fingerprint`."""
