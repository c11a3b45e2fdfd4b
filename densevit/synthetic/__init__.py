"""Drawn data sets for demonstrations and tests: street scenes and CT scans."""
