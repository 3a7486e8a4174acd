"""Common words of languages that few products are asked in, to stand for a wrong language.

Not sentences: nothing is to be understood, but each word is one that people of that language use.
"""

_FINNISH = """
että minä sinä hän mutta niin kuin vain kanssa mitä missä koska kaikki tämä olla voida tulla saada
pitää tehdä täytyy haluta antaa ottaa sanoa nähdä tietää löytää lähteä jäädä vielä nyt sitten aina
hyvä uusi suuri pieni vanha pitkä lyhyt kaunis ensimmäinen viimeinen talo koti katto seinä ikkuna
ovi keittiö huone vesi lämpö sähkö maa kaupunki kunta yritys työ raha hinta lasku sopimus päivä
viikko kuukausi vuosi aika ihminen nainen mies lapsi ystävä naapuri kysymys vastaus asia syy kirja
lehti sana kieli koulu tie auto juna matka ruoka leipä maito kahvi kesä talvi syksy kevät yö aamu
ilta valo väri punainen sininen vihreä musta valkoinen pöytä tuoli käsi jalka silmä sydän mieli
joulu meri järvi metsä puu kivi lumi sade tuuli aurinko kuka milloin kuinka paljon vähän yhdessä
"""
_GERMAN = """
und oder aber nicht auch noch nur schon immer wieder heute morgen gestern ich du er sie wir ihr
mein dein unser haben werden können müssen sollen wollen machen geben kommen gehen sehen wissen
finden bleiben lassen stehen gut neu groß klein alt lang kurz schön erste letzte haus wohnung dach
wand fenster tür küche zimmer wasser wärme strom stadt gemeinde firma arbeit geld preis rechnung
vertrag tag woche monat jahr zeit mensch frau mann kind freund nachbar frage antwort sache grund
buch zeitung wort sprache schule straße auto zug reise essen brot milch kaffee sommer winter herbst
frühling nacht abend licht farbe rot blau grün schwarz weiß tisch stuhl hand fuß auge herz meer see
wald baum stein schnee regen wind sonne wer wann wie viel wenig zusammen zwischen während deshalb
"""

OTHER_LANGUAGES: dict[str, tuple[str, ...]] = {
    "fi": tuple(_FINNISH.split()),
    "de": tuple(_GERMAN.split()),
}
"""Words by ISO 639-1 code."""
