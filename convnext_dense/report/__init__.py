"""What a person looks at: pages of one file that open without a network."""
