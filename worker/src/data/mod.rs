//! The token stream: sequences in an order that depends on nothing but the seed, read ahead of the step.
