"""Letters between coordinator and hospitals over Flower, which is trusted with nothing but their delivery."""
