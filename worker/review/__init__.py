"""What people decide: reviews, their verdicts, and the pages that show them."""
