"""What was made of a data set's files, kept on disk until one of them changes."""
