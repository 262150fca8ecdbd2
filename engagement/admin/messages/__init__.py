"""The list of messages and the page of one.

message_list.py   columns, filters, order
message_page.py   one message in words
texts.py          what a message says
"""
