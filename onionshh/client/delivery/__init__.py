"""The drivers of delivery: what a Sender and a Receiver decide is carried out here."""
