"""Pages of HTML that are one file each, open without a network, and ask nothing of anyone."""

from densevit.report.pages.evaluation import evaluation_page

__all__ = ["evaluation_page"]
