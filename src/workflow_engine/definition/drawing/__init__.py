"""Pictures of graphs, for people: as SVG, and as text that Mermaid and Graphviz draw. Pure functions."""
