"""The structures that the label maps of the synthetic scans hold; a class's number is its place in CLASSES."""

CLASSES = ("background", "lungs", "heart", "aorta", "liver", "spleen", "left kidney", "right kidney", "bone", "tumour")
BACKGROUND, LUNGS, HEART, AORTA, LIVER, SPLEEN, LEFT_KIDNEY, RIGHT_KIDNEY, BONE, TUMOUR = range(len(CLASSES))
