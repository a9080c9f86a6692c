"""Programs that use onionshh as a DApp would. Each is run by a test beside it, and by hand as it says."""
