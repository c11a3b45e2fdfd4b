// In place of zarrita, whose formats no page reads: it would be two thirds of the bundle.
export {};
