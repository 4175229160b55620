"""The pages for people: checkout, portal, invoice and the operator's."""
