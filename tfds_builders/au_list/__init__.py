"""Lists of pictures with a place and an intensity per unit, as heatmap methods have read them."""
