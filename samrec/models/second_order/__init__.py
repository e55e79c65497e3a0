"""First and second derivatives of SASRec's loss, written out by hand: no graph, and values shared by all tangents."""
