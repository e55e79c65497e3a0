"""Surfaces and numbers from and for other programs: loss-landscape files, VTK for ParaView, CSV."""
