"""What training runs left in their folders: read without running any of it, and compared."""
