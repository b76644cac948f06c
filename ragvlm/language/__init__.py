"""What a sentence says: its words, numbers, places and denials, and how labels are put into sentences."""
