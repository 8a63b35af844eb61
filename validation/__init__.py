"""May these pairs be taught? Pairs in; train/eval split, quarantine and verdict out."""
