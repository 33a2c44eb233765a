"""Prices: dated records with their source, never a guess; what time costs by them.

records     a price, a cost, a machine of one's own, a rate between currencies
currencies  the codes that an amount may be in
billing     what is billed for a stretch of time; how old a price is
book        a question finds its price, or is told that it has several answers
reading     files -> books: own TOML; owncsv, catalogues: CSV of ours, SkyPilot's, gpuhunt's
owning      a machine of one's own beside a rented one
summary     what a whole book holds; owning or renting by it
shipped     the prices of the reproduced documents: history, never today's

A price that is not known is not there. Nothing is priced at 0.
"""

from timetrial.prices.billing import OLD_AFTER_DAYS, age_note, billed_cost, date_of, words_of
from timetrial.prices.book import Asked, Book, choose, joined, same_accelerator
from timetrial.prices.owning import (
    break_even_hours_per_month,
    cost_per_hour,
    in_currency,
    missing_of,
    price_of_owned,
)
from timetrial.prices.reading import read_book
from timetrial.prices.records import BreakEven, Cost, Owned, Price, Problem, Rate
from timetrial.prices.shipped import HISTORY_NOTE, history
from timetrial.prices.summary import break_even_words, owning_or_renting, summary

__all__ = [
    "HISTORY_NOTE",
    "OLD_AFTER_DAYS",
    "Asked",
    "Book",
    "BreakEven",
    "Cost",
    "Owned",
    "Price",
    "Problem",
    "Rate",
    "age_note",
    "billed_cost",
    "break_even_hours_per_month",
    "break_even_words",
    "choose",
    "cost_per_hour",
    "date_of",
    "history",
    "in_currency",
    "joined",
    "missing_of",
    "owning_or_renting",
    "price_of_owned",
    "read_book",
    "same_accelerator",
    "summary",
    "words_of",
]
