"""The drivers of delivery: they carry out what a Sender and a Receiver decide."""
