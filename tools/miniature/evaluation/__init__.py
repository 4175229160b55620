"""Examines the miniature: does it draw what the prompt says?"""
