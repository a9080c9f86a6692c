"""What everything pure stands on: numbers, chance, patience, reasons, timers."""
