//! What a person writes, validated whole: every problem at once, then trusted types.
