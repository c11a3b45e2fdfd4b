"""Tests, room by room; a package, so that `from tools.peers import import_mmseg` finds these files and no others."""
