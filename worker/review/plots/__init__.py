"""Plots as SVG, drawn here: shapes with classes and presentation attributes; colours are the style sheet's."""
