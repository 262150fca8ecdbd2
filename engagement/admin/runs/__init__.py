"""The runs of the daily job.

run_list.py   the list, and the page of a run
run_report.py what the page of a run says
undo_view.py  undo a run: preview, confirmation, report
"""
