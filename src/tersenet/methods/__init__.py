"""What goes: which weights, which values. Each method changes a network; training it again is the recipe's part."""
