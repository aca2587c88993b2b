//! Joins source, function and sinks around the delivery core; the only clock and dice.
