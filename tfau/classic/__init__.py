"""System without a network: histograms of gradients and landmarks -> support vector machines."""
