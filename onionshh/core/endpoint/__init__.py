"""What an endpoint and its visitors do on the ring and at introducers."""
