"""What the garak adapter uses of garak."""
