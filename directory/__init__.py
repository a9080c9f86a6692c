"""The directory authority: hears relays, checks that they answer, signs what the network is (SPEC 8)."""
