"""What can be trained: each file holds one `densevit.train.task.Task`."""
