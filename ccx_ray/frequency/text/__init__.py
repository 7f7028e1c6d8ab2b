"""What questions and documents become before they are searched and judged."""
