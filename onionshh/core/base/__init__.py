"""What all pure code uses: numbers, chance, patience, reasons, timers."""
