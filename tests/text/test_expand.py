"""Numbers, signs and abbreviations as they are read aloud, by grammars, own rules and num2words."""

from __future__ import annotations

import gc
import logging
import string
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from f5_worker.text.expand import library
from f5_worker.text.expand.grammar import Grammar
from f5_worker.text.expand.library import DIRECTORY, LANGUAGES, grammar
from f5_worker.text.expand.numbers import languages, numbers
from f5_worker.text.normalize import normalize
from f5_worker.text.spans import SourceMappedText

# A backslash continues a line.
CASES = {
    "en": """
        0 -> zero
        15 people -> fifteen people
        1,234,567 -> one million two hundred thirty four thousand five hundred and sixty seven
        1,234.5 -> one thousand two hundred and thirty four point five
        3.14 -> three point one four
        0.05 or .5 -> zero point zero five or point five
        It was 5. Then 6. -> It was five. Then six.
        -5 and (-7) -> minus five and (minus seven)
        007 -> zero zero seven
        1,2,3 -> one, two, three
        1st, 22nd, 1,000th -> first, twenty second, one thousandth
        21st-century -> twenty first century
        10-year-old -> ten-year-old
        In 1999 -> In nineteen ninety nine
        In 2005 and 2000 -> In two thousand five and two thousand
        In 2024, 1905 or 1900. -> In twenty twenty four, nineteen oh five or nineteen hundred.
        1066 -> ten sixty six
        2100 -> twenty one hundred
        1,999 -> one thousand nine hundred and ninety nine
        1500 metres, in 1500 settlers -> fifteen hundred metres, in fifteen hundred settlers
        1990s, 1990's, 2010s -> nineteen nineties, nineteen nineties, twenty tens
        in the 80s, for 30s -> in the eighties, for thirty seconds
        $5.20 -> five dollars twenty cents
        $1, $0.50, £0.01, $5.00 -> one dollar, fifty cents, one penny, five dollars
        €20 or 20€ or 20 EUR -> twenty euros or twenty euros or twenty euros
        £3m -> three million pounds
        $1.5 billion -> one point five billion dollars
        5 USD, USD 5 -> five dollars, five dollars
        -$1,000,000 -> minus one million dollars
        $1000000 -> one million dollars
        $5-$10 or $5-10 -> five dollars to ten dollars or five dollars to ten dollars
        ¥500 -> five hundred yen
        50% and 5 % -> fifty percent and five percent
        -2.5% -> minus two point five percent
        20% off -> twenty percent off
        20%off -> twenty percent off
        20°C, 68 °F, 1°C -> twenty degrees Celsius, sixty eight degrees Fahrenheit, one degree Celsius
        -5 °C and 90° -> minus five degrees Celsius and ninety degrees
        5km -> five kilometers
        5 km. -> five kilometers.
        1 km, 1.5 km -> one kilometer, one point five kilometers
        10-20 km -> ten to twenty kilometers
        a 5-km run -> a five kilometer run
        5 min. later -> five minutes later
        3 m, 4 cm, 5 mm -> three metres, four centimeters, five millimetres
        6 kg, 7 g, 8 mg -> six kilograms, seven grams, eight milligrams
        150 lb, 6 ft -> one hundred and fifty pounds, six feet
        100 km/h or 60 mph -> one hundred kilometers per hour or sixty miles per hour
        16 GB, 5MB -> sixteen gigabytes, five megabytes
        44.1 kHz, 50 Hz -> forty four point one kilohertz, fifty hertz
        20 ms, 3 s, 2 h -> twenty milliseconds, three seconds, two hours
        2000 km -> two thousand kilometers
        5 m² -> five square meters
        10:30 -> ten thirty
        12:00, 14:00, 00:00 -> twelve o'clock, fourteen hundred, midnight
        at 5 p.m. we left -> at five PM we left
        at 5 p.m. We left -> at five PM. We left
        at 5 p.m. -> at five PM.
        10:30:15 -> ten hours thirty minutes and fifteen seconds
        10:30-11:45, 5-6pm -> ten thirty to eleven forty five, five pm to six pm
        16:9 -> sixteen to nine
        2024-05-01 -> may first twenty twenty four
        May 1, 2024 -> May first, twenty twenty four
        1 May 2024 -> the first of May twenty twenty four
        the 4th of July -> the fourth of July
        5/1/2024, 13/5/24 -> may first twenty twenty four, may thirteenth twenty four
        Jan. 5, 6 Sept. -> january fifth, the sixth of september.
        May 1-3 -> May first to third
        1/2, 3/4, 2/3 -> one half, three quarters, two thirds
        1 1/2 and 2½ -> one and a half and two and a half
        50/50, 24/7, 9/11, 10/10 -> fifty fifty, twenty four seven, nine eleven, ten out of ten
        10-20, 10–20, 10 - 20 -> ten to twenty, ten to twenty, ten to twenty
        1914-1918, 1914-18 -> nineteen fourteen to nineteen eighteen, nineteen fourteen to eighteen
        won 3-1 -> won three to one
        Call 555-1234, or 100-1000 -> Call five five five, one two three four, or one hundred to one thousand
        Mr. & Mrs. Jones, Mr and Mrs Roe -> Mister and Missus Jones, Mister and Missus Roe
        555-123-4567 -> five five five, one two three, four five six seven
        (555) 123-4567 -> five five five, one two three, four five six seven
        +1 555 123 4567 -> plus one, five five five, one two three, four five six seven
        5551234567 -> five five five one two three four five six seven
        12345678 -> one two three four five six seven eight
        4111 1111 1111 1111 -> four one one one, one one one one, one one one one, one one one one
        code 1234, OTP: 98765 -> code one two three four, OTP: nine eight seven six five
        PIN is 0000, ext. 45 -> PIN is zero zero zero zero, extension forty five
        2.8.3 and v1.2 -> two point eight point three and version one point two
        192.168.0.1 -> one nine two dot one six eight dot zero dot one
        #1 -> number one
        Tom & Jerry, AT&T -> Tom and Jerry, AT and T
        2 + 2 = 4 -> two plus two equals four
        3x5 -> three by five
        10+ years -> ten plus years
        me@example.com. -> me at example dot com.
        john.doe-2@mail.co.uk -> john dot doe dash two at mail dot co dot uk
        https://example.com/path, -> https colon slash slash example dot com slash path,
        (www.example.org/) -> (www dot example dot org slash)
        example.com/a -> example dot com slash a
        Mr. Smith, Mrs. Lee, Ms Ray -> Mister Smith, Missus Lee, Miz Ray
        Dr. No and Prof. X -> Doctor No and Professor X
        St. Paul -> Saint Paul
        Main St. is -> Main Street is
        cats vs. dogs vs birds -> cats versus dogs versus birds
        e.g. this, i.e. that -> for example this, that is that
        E.g. this -> For example this
        cats etc. and -> cats et cetera and
        cats, etc. Then -> cats, et cetera. Then
        cats, etc. -> cats, et cetera.
        (cats etc.), dogs etc., -> (cats et cetera), dogs et cetera,
        No. 5, no. 6 -> Number five, number six
        No. -> No.
        approx. 5 -> approximately five
        Fig. 3 on p. 7 -> Figure three on page seven
        Henry VIII -> Henry the eighth
        Louis XIV's -> Louis the fourteenth's
        Elizabeth I. -> Elizabeth the first.
        Chapter IV, Part I, Volume XII -> Chapter four, Part one, Volume twelve
        World War II -> World War two
        iPhone 15 -> iPhone fifteen
        There are 1024 files. -> There are one thousand and twenty four files.
        I have 1986 friends, in 1986 settlers came, the 2016 elections -> \
            I have one thousand nine hundred and eighty six friends, \
            in nineteen eighty six settlers came, the twenty sixteen elections
        The answer is 1024 -> The answer is one thousand and twenty four
        pages 10-15. -> pages ten to fifteen.
        €3,50 -> three euros fifty cents
        on Elm Dr. in town -> on Elm Drive in town
        J. R. R. Tolkien wrote -> J. R. R. Tolkien wrote
        King George V spoke -> King George the fifth spoke
        E = mc² -> E equals mc squared
        5 - 3 = 2, 3 * 4 = 12, 10 / 2 = 5 -> \
            five minus three equals two, three times four equals twelve, ten divided by two equals five
        5 < 6 -> five is less than six
        on 12/25 we rest -> on December twenty fifth we rest
        5'10" or 6 ft 2 in -> five foot ten or six feet two inches
        10x faster in 4K video -> ten times faster in four K video
        978-3-16-148410-0 -> nine seven eight, three, one six, one four eight four one zero, zero
        #ThrowbackThursday -> hashtag Throwback Thursday
        Call +49 30 1234567 -> Call plus four nine, three zero, one two three four five six seven
        It costs $3.99/month, 50¢ a day -> It costs three dollars ninety nine cents per month, fifty cents a day
        to Elm St. near 5th Ave. -> to Elm Street near fifth Avenue
        Apt. 4B, Part V, Super Bowl LVII -> Apartment four B, Part five, Super Bowl fifty seven
        100s of 10 000 people -> hundreds of ten thousand people
        2019/20, May 5-7 -> twenty nineteen twenty, May fifth to seventh
        2023-12-25T10:30:00Z -> december twenty fifth twenty twenty three at ten thirty
        Maria V. is here -> Maria V. is here
    """,
    "bn": """
        ২৩, 12,34,567 -> তেইশ, বারো লাখ চৌত্রিশ হাজার পাঁচশত সাতষট্টি
    """,
    "ca": """
        a les 22:00, 1:21:05 -> a les vint-i-dues, una i vint-i-un minuts i cinc segons
    """,
    "cs": """
        v 17:02, 8:00, 2:00, 8:00 hodin -> v sedmnáct nula dva, osm hodin, dvě hodiny, osm hodin
        3. místo -> 3. místo
    """,
    "da": """
        kl. 17.02 den 3. oktober og 31. maj -> kl. sytten nul to den tredje oktober og enogtredivte maj
        3.10.2023 -> tredje oktober totusinde og treogtyve
        Vi var 3. Så gik vi. -> Vi var tre. Så gik vi.
        45. plads -> 45. plads
    """,
    "de": """
        Das ist der 3. Mann im Haus. -> Das ist der dritte Mann im Haus.
        am 3. Oktober, der 21. Tag -> am dritten Oktober, der einundzwanzigste Tag
        vom 1. bis 5. Mai -> vom ersten bis fünften Mai
        vom 1.-5. Mai, 3. - 4. Juni -> vom ersten bis fünften Mai, dritter bis vierten Juni
        der 1. und 2. Mann, am 3., 4. und 5. Mai -> der erste und zweite Mann, am dritten, vierten und fünften Mai
        im 19. Jahrhundert, 19. Jahrhundert -> im neunzehnten Jahrhundert, neunzehntes Jahrhundert
        3. Oktober 2023, bis 5. Mai -> dritter Oktober zweitausenddreiundzwanzig, bis fünften Mai
        am 3. Okt. 2023 -> am dritten Oktober zweitausenddreiundzwanzig
        ein 2. Versuch, mein 1. Kind, seine 4. Frau -> ein zweiter Versuch, mein erstes Kind, seine vierte Frau
        Ihr 2. Buch, ihres 2. Buches, einem 3. Mann -> Ihr zweites Buch, ihres zweiten Buches, einem dritten Mann
        die 3. Klasse, in der 3. Klasse, Schüler der 3. Klasse -> \
                die dritte Klasse, in der dritten Klasse, Schüler der dritten Klasse
        jede 2. Woche, jeder 3. Deutsche, dieses 5. Jahr -> \
                jede zweite Woche, jeder dritte Deutsche, dieses fünfte Jahr
        aus jedem 6. Haus -> aus jedem sechsten Haus
        Sie wurde 2. im Lauf. -> Sie wurde zweiter im Lauf.
        Wir waren zu 3. Dann gingen wir. -> Wir waren zu drei. Dann gingen wir.
        Es waren 20. Peter kam. -> Es waren zwanzig. Peter kam.
        Wir kommen am 3. Dann essen wir. -> Wir kommen am dritten. Dann essen wir.
        Heute ist der 3. -> Heute ist der dritte.
        Es sind 3. -> Es sind drei.
        3. -> dritter.
        0. Klasse -> null. Klasse
        am 3.10.2023, 3.10.2023 -> \
                am dritten Oktober zweitausenddreiundzwanzig, dritter Oktober zweitausenddreiundzwanzig
        2003-03-02, 3.10.23, 3.10.03 -> \
                zweiter märz zweitausenddrei, dritter Oktober dreiundzwanzig, dritter Oktober null  drei
        der 1. FC Köln, 1. FC Köln -> der erste FC Köln, erster FC Köln
        am 3.10. kam er, vom 3.10. bis 5.11. -> am dritten Oktober kam er, vom dritten Oktober bis fünften November.
        17:02:51, 01:00:01 -> siebzehn Uhr zwei und einundfünfzig Sekunden, ein Uhr null und eine Sekunde
        17:02 Uhr, 17.02 Uhr, 17:02 h -> siebzehn Uhr zwei, siebzehn Uhr zwei, siebzehn Uhr zwei
        8:00 Uhr, 1 Uhr, um 10:30 -> acht Uhr, ein Uhr, um zehn Uhr dreißig
        3:2 und 16:9 -> drei zu zwei und sechzehn zu neun
        17:00-18:30 Uhr -> siebzehn Uhr bis achtzehn Uhr dreißig
        Das kostet 9.99. 50.000 Leute -> Das kostet neun punkt neun neun. fünfzigtausend Leute
        (am 3.) und "der 3." am 3.! -> (am dritten.) und "der dritte." am dritten.!
        am 3./4. Oktober -> am dritten/vierten Oktober
        am 31. 12. 2023, am 1. 4. um zwei -> \
                am einunddreißigsten Dezember zweitausenddreiundzwanzig, am ersten April um zwei
        3. fertig, 3. oktober -> drei. fertig, dritter oktober
        unser 1. Auto -> unser erstes Auto
        Seiten 10-15, 3-2 gewonnen -> Seiten zehn bis fünfzehn, drei zu zwei gewonnen
        3 + 4 = 7, 9 - 2 = 7 -> drei plus vier gleich sieben, neun minus zwei gleich sieben
        Ludwig XIV. war hier, Kapitel IV -> Ludwig der Vierzehnte war hier, Kapitel vier
        +49 30 1234567 -> plus neunundvierzig, drei null, eins zwei drei vier fünf sechs sieben
        Es kostet $10. -> Es kostet zehn dollar.
        z. B. 2 Mio. Euro usw. -> zum Beispiel zwei Millionen Euro und so weiter.
        in der Hauptstr. 5. -> in der Hauptstraße fünf.
        die 90er Jahre, 5 Mrd. € -> die neunziger Jahre, fünf Milliarden Euro
        Kap. 3, S. 5, II. Weltkrieg -> Kapitel drei, Seite fünf, zweiter Weltkrieg
        3 x 4, 3:2 -> drei mal vier, drei zu zwei
    """,
    "es": """
        a las 17:02, 1:30, 21:00 -> a las diecisiete y dos, una y media, veintiuna
        1/5/2024, 2.3.2003 -> primero de mayo de dos mil veinticuatro, dos de marzo de dos mil tres
        Páginas 10-15, ganó 3-2 -> Páginas diez a quince, ganó tres a dos
        Felipe VI, Luis XIV, siglo XXI -> Felipe sexto, Luis catorce, siglo veintiuno
        Llama al 912 345 678. -> Llama al nueve uno dos, tres cuatro cinco, seis siete ocho.
        En 1986 hay 500 casas y 200 libros. -> \
            En mil novecientos ochenta y seis hay quinientas casas y doscientos libros.
        21 libros, 21 personas, 1 vez, 1 libro -> veintiún libros, veintiuna personas, una vez, un libro
        20 °C -> veinte grados Celsius
        EE.UU. y 5 km -> Estados Unidos y cinco kilómetros
        El 21 de mayo de 1986 -> El veintiuno de mayo de mil novecientos ochenta y seis
    """,
    "fi": """
        klo 17.02, 8:00 -> klo seitsemäntoista nolla kaksi, kahdeksan
        3. lokakuuta, 3. kerros, 3. kerroksessa -> kolmas lokakuuta, kolmas kerros, 3. kerroksessa
    """,
    "fr": """
        à 17:02, 17h02, 17 h 02, 17h -> \
                à dix-sept heures deux, dix-sept heures deux, dix-sept heures deux, dix-sept heures
        1h, 00:15, 21:21 -> une heure, zéro heure quinze, vingt et une heures vingt et un
        17:30:05 -> dix-sept heures trente minutes et cinq secondes
        1/5/2024 -> premier mai deux mille vingt-quatre
        8h30-9h45 -> huit heures trente à neuf heures quarante-cinq
        1,5 h -> un virgule cinq h
        pages 10-15, 3-2 -> pages dix à quinze, trois à deux
        2 + 2 = 4 -> deux plus deux égale quatre
        Louis XIV, au XXIe siècle -> Louis quatorze, au vingt et unième siècle
        01-23-45-67-89 -> zéro un vingt-trois quarante-cinq soixante-sept quatre-vingt-neuf
        5 km, 1 kg, 100 km/h -> cinq kilomètres, un kilo, cent kilomètres à l'heure
        1.234,50 € -> mille deux cent trente-quatre euros et cinquante centimes
        la 1re, n° 5, p. ex. ici -> la première, numéro cinq, par exemple ici
        1 200 €, 5 m² -> mille deux cents euros, cinq mètres carrés
        1 234,5 et 12 500 -> mille deux cent trente-quatre virgule cinq et douze mille cinq cents
        à 15 h 30, 3 € -> à quinze heures trente, trois euros
        M. et Mme Élie, MM. les juges, M. le maire -> \
            monsieur et madame Élie, messieurs les juges, monsieur le maire
        Me Roy, Mgr Élie, Dr Émile, Mmes Lot et Roy -> maître Roy, monseigneur Élie, docteur Émile, mesdames Lot et Roy
        Me voici, St-Denis, 5 av. Foch, bd Voltaire -> \
            Me voici, Saint-Denis, cinq avenue Foch, boulevard Voltaire
        la 2ᵉ fois, 1ers, 2nde, 3ème, XIXᵉ -> la deuxième fois, premiers, seconde, troisième, dix neuvième
        p. 12, pp. 3 et 4, n°s 3, § 5, 5 ‰ -> \
            page douze, pages trois et quatre, numéros trois, paragraphe cinq, cinq pour mille
        en 52 av. J.-C., en 3 apr. J.-C. -> \
            en cinquante-deux avant Jésus-Christ, en trois après Jésus-Christ.
        5G, 20 cl, Roy & fils -> cinq G, vingt centilitres, Roy et fils
    """,
    "gu": """
        ૨૩, 50%, ₹500 -> ત્રેવીસ, પચાસ ટકા, પાંચ સો રૂપિયા
    """,
    "hi": """
        आज 23 मार्च, 2023 है। -> आज तेईस मार्च, दो हज़ार तेईस है।
        आज २३ मार्च, २०२३ है। -> आज तेईस मार्च, दो हज़ार तेईस है।
        12,34,567 और 3.14 -> बारह लाख चौंतीस हज़ार पाँच सौ सड़सठ और तीन दशमलव एक चार
        -5, +5, 50% -> माइनस पाँच, प्लस पाँच, पचास प्रतिशत
        ₹500, ₹1, ₹5.50 -> पाँच सौ रुपए, एक रुपए, पाँच रुपए पचास पैसे
        1,00,00,00,005 -> एक अरब पाँच
        1999 में -> उन्नीस सौ निन्यानबे में
        7:21, ७:२१, 8:00 बजे -> सात बजकर इक्कीस मिनट, सात बजकर इक्कीस मिनट, आठ बजे
        3:18:43 -> तीन बजकर अठारह मिनट तैंतालीस सेकंड
        25-03-2020 -> पच्चीस मार्च दो हज़ार बीस
        1ला, 2री, ३रे, 4था, 6ठा -> पहला, दूसरी, तीसरे, चौथा, छठा
        5वर्ष -> 5वर्ष
        5 + 3 = 8 -> पाँच प्लस तीन बराबर आठ
    """,
    "hu": """
        17:02, 3. osztály -> tizenhét óra két perc, harmadik osztály
        október 3. napja -> október 3. napja
    """,
    "id": """
        pukul 17.02, 17:30:05 -> pukul tujuh belas lewat dua, tujuh belas lewat tiga puluh menit lima detik
    """,
    "it": """
        1/5/2024 -> primo maggio duemila ventiquattro
        pagine 10-15, 3-2 -> pagine dieci a quindici, tre a due
        Luigi XIV, il XX secolo -> Luigi quattordicesimo, il ventesimo secolo
        06 1234567 -> zero sei, uno due tre quattro cinque sei sette
        il 1° maggio, 20 °C -> il primo maggio, venti gradi Celsius
        1/2, 3/4, 1ª volta, n. 5 -> un mezzo, tre quarti, prima volta, numero cinque
        Carlo I ragazzi -> Carlo I ragazzi
    """,
    "ml": """
        23, 50% -> ഇരുപത്തി മൂന്ന്, അമ്പത് ശതമാനം
    """,
    "mr": """
        २३, 50%, ₹500 -> तेवीस, पन्नास टक्के, पाचशे रुपये
    """,
    "nl": """
        om 17:02 uur, 17.02 uur, 8 uur -> om zeventien uur twee, zeventien uur twee, acht uur
        2-3-2003 -> twee maart tweeduizenddrie
    """,
    "no": """
        kl. 17.02, den 13. mai -> kl. sytten null to, den trettende mai
    """,
    "pl": """
        o 17:02, 20:21, 8:00, 0:15 -> o siedemnastej zero dwa, dwudziesta dwadzieścia jeden, ósma, zero piętnaście
        17:30:22, 3:00, o 2:00 -> siedemnasta trzydzieści minut i dwadzieścia dwie sekundy, trzecia, o drugiej
    """,
    "pt": """
        14:30, 6h05, 2:00, 1h -> catorze horas e trinta, seis horas e cinco, duas horas, uma hora
        14:30:05 -> catorze horas e trinta minutos e cinco segundos
        15/03/2024 e 03/15/2024 -> \
                quinze de março de dois mil e vinte e quatro e quinze de março de dois mil e vinte e quatro
        páginas 10-15, século XXI -> páginas dez a quinze, século vinte e um
        Pedro II, Luís XIV -> Pedro segundo, Luís catorze
        R$ 5,20, R$ 0,25 -> cinco reais e vinte centavos, vinte e cinco centavos
        O Sr. Silva andou 2 m. -> O Senhor Silva andou dois metros.
        2 mulheres, 21 casas, 2 dias -> duas mulheres, vinte e uma casas, dois dias
        R$ 1.234,50, R$ 0,00, R$ 1. -> \
            mil duzentos e trinta e quatro reais e cinquenta centavos, zero reais, um real.
        R$ 10 mil, R$ 2,5 milhões -> dez mil reais, dois vírgula cinco milhões de reais
    """,
    "ro": """
        ora 17:02, 12:00 -> ora șaptesprezece și două, douăsprezece
    """,
    "ru": """
        в 17:02, 8:00 -> в семнадцать ноль две, восемь ноль ноль
        17:01:21 -> семнадцать одна минута двадцать одна секунда
    """,
    "sk": """
        17:02, 1:00 -> sedemnásť nula dva, jedna hodina
    """,
    "sv": """
        kl. 17.02, 8:00 -> kl. sjutton noll två, åtta
        20/3/2024 -> tjugonde mars tvåtusentjugofyra
    """,
    "ta": """
        23, 50%, ₹500 -> இருபத்து மூன்று, ஐம்பது சதவீதம், ஐநூறு ரூபாய்
    """,
    "te": """
        23, 50%, ₹1 -> ఇరవై మూడు, యాభై శాతం, ఒకటి రూపాయి
    """,
    "th": """
        17:02 น. -> สิบเจ็ด นาฬิกา สอง นาที
    """,
    "tr": """
        17:02, 3. kat, 17:30:20 -> onyedi sıfır iki, üçüncü kat, onyedi otuz dakika yirmi saniye
    """,
    "uk": """
        17:02 -> сімнадцять два
    """,
    "vi": """
        17:02, 8:00 -> mười bảy giờ hai phút, tám giờ
    """,
    "zh": """
        2024年12月24日是圣诞夜，我收获了54321.12元奖金。 -> \
            二零二四年十二月二十四日是圣诞夜，我收获了五万四千三百二十一点一二元奖金。
        共有5个 -> 共有五个
        10-15人，5%-10% -> 十到十五人，百分之五到百分之十
        3+4=7。3-2获胜 -> 三加四等于七。三比二获胜
        电话13812345678 -> 电话一三八一二三四五六七八
        2020-2023年，100km/h -> 二零二零年到二零二三年，一百公里每小时
        3:2 -> 三比二
    """,
    "ja": """
        2024/01/30(火)、1〜3時 -> 二千二十四年一月三十日火曜日、一から三時
        -2.5度、10000円、3/4 -> マイナス二点五度、一万円、四分の三
        10-15人 -> 十から十五人
        090-1234-5678 -> 零九零、一二三四、五六七八
        $10、¥500、5km、20°C -> 十ドル、五百円、五キロメートル、二十度
        10%〜20% -> 十パーセントから二十パーセント
        12:30:15、10:05 -> 十二時三十分十五秒、十時五分
    """,
    "ko": """
        5개, 1,234.5 -> 오개, 천이백삼십사 점 오
    """,
}
READ = [
    (language, written.strip(), " ".join(said.split()))
    for language, lines in CASES.items()
    for written, arrow, said in (line.partition(" -> ") for line in lines.replace("\\\n", " ").splitlines())
    if arrow
]


@pytest.mark.parametrize(("language", "written", "said"), READ)
def test_what_is_said(language: str, written: str, said: str) -> None:
    assert normalize(written, language=language).text == said


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("6.02 × 10, 3×4=12", "six point zero two times ten, three times four equals twelve"),
        ("I love 90s music.", "I love nineties music."),
        ("at 123 W Main St. The house", "at one twenty three West Main Street. The house"),
        ("sugar? No. 5 minutes later", "sugar? No. five minutes later"),
        ("5M views and 300K subscribers", "five million views and three hundred thousand subscribers"),
        ("She has 1000000 followers.", "She has one million followers."),
        ("at 321 434-5049.", "at three two one, four three four, five zero four nine."),
        ("Call 911 now.", "Call nine one one now."),
        ("Call 1-800-FLOWERS.", "Call one, eight hundred, FLOWERS."),
        ("5m people came, 5m away", "five million people came, five metres away"),
    ],
)
def test_what_the_grammar_gets_wrong_for_speech(written: str, said: str) -> None:
    assert normalize(written).text == said


@pytest.mark.parametrize(
    "text",
    ["I", "V", "I am", "With Henry I went", "Malcolm X", "Vitamin C", "Part C", "LIVID", "it is in", "What? No."],
)
def test_words_are_left_alone(text: str) -> None:
    assert normalize(text).text == text


@pytest.mark.parametrize("language", ["am", "kn", "xx", "que"])
def test_languages_without_rules_are_left_alone(language: str) -> None:
    assert normalize("5 1,234.5 $5 5% -7", language=language).text == "5 1,234.5 $5 5% -7"


@pytest.mark.parametrize("language", sorted(languages()))
def test_num2words_reads_what_the_table_promises(language: str) -> None:
    values = [0, 1, 2, 5, 10, 11, 21, 99, 100, 101, 999, 1000, 1999, 12345, 10**6, 10**9 + 1, 987_654_321_012_345]
    rules = languages()[language]
    grouped = [f"{value:,}".replace(",", rules["thousands"]) for value in values]
    signs = [sign for sign, code in (("€", "EUR"), ("$", "USD"), ("£", "GBP")) if code in rules.get("currencies", ())]
    written = [*grouped, f"1{rules['decimal']}05", "-5", "5%", *(f"5{sign}" for sign in signs)]
    for text in [*written, *(f"5{rules['decimal']}20 {sign}" for sign in signs), "12345678", "9" * 20]:
        said = SourceMappedText.of(text).replace(numbers(text, language)).text
        assert said
        assert not any(char.isdecimal() or char in "€$£%(" for char in said), (text, said)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_grammar_says_what_it_was_compiled_for(language: str) -> None:
    own = grammar(language)
    assert own is not None, "build the grammars: make .venv/share/f5-worker/grammars"
    (reading,) = own.read("12")
    assert (reading.begin, reading.end) == (0, 2)
    assert reading.said
    assert not any(map(str.isdecimal, reading.said))


def test_a_token_is_said_in_the_order_that_the_verbalizer_takes() -> None:
    own = Grammar(DIRECTORY / "en.tagger.fst", DIRECTORY / "en.verbalizer.fst")
    assert own.read("On 5 May 2024.") == [(3, 13, "the fifth of may twenty twenty four")]
    assert own.read("\ud800".encode("utf-8", "replace").decode()) == []


def test_without_its_grammar_a_language_still_has_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library, "DIRECTORY", tmp_path)
    monkeypatch.setattr(library, "_loaded", {})
    monkeypatch.setattr(logging.getLogger("f5_worker"), "propagate", True)
    assert normalize("Il y a 12 km.", language="fr").text == "Il y a douze kilomètres."
    assert "was not built" in caplog.text
    caplog.clear()
    assert normalize("Il y a 13 km.", language="fr").text == "Il y a treize kilomètres."
    assert "was not built" not in caplog.text


def test_grammars_are_loaded_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_loaded", {})
    library.load_in_background().join(30)
    assert sorted(library._loaded) == sorted(LANGUAGES)
    assert all(library._loaded.values())


@pytest.mark.parametrize(
    ("language", "text", "said", "written"),
    [
        ("en", "It cost $3.50 for 12 kg.", "three dollars fifty cents", "$3.50"),
        ("en", "It cost $3.50 for 12 kg.", "twelve kilograms", "12 kg"),
        ("en", "My channel got 5M views.", "five million", "5M"),
        ("de", "Es kostet 5,20 €.", "fünf Euro zwanzig Cent", "5,20 €"),
        ("zh", "共有５个", "五", "５"),
    ],
)
def test_words_map_to_what_they_are_read_from(language: str, text: str, said: str, written: str) -> None:
    read = normalize(text, language=language)
    at = read.text.casefold().index(said.casefold())
    assert {text[begin:end] for begin, end in read.origin[at : at + len(said)]} == {written}


SENTENCES = [(language, written) for language, written, _ in READ]


@pytest.mark.parametrize(("language", "text"), SENTENCES)
def test_the_places_of_words_cover_the_text_once_and_in_order(language: str, text: str) -> None:
    check_places(text, language)


FRAGMENTS = (
    "1 12 1999 1,234 3.5 007 $ € % °C km m / - – : . , + # & @ ( ) st nd pm a.m. May Jan. I IV Henry etc. No. "
    "example.com www. x v code 5551234567 am der 3. 10:30 3.10.2023 Uhr २३ वां"
)
WRITTEN = st.one_of(
    st.text(alphabet=string.printable + "€£–°½²é中", max_size=60),
    st.lists(st.sampled_from([*FRAGMENTS.split(), " ", "\n"]), max_size=12).map("".join),
)


@settings(max_examples=30, deadline=None)
@given(WRITTEN, st.sampled_from(["en", "de", "fr", "hi", "tr", "zh"]))
def test_the_places_of_any_text_are_in_order(text: str, language: str) -> None:
    check_places(text, language)


def check_places(text: str, language: str) -> None:
    """Each place is of the text, and two that differ do not overlap; no letter and no digit of the text is lost."""
    read = normalize(text, language=language)
    spans = list(dict.fromkeys(read.origin))
    assert all(0 <= begin <= end <= len(text) for begin, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans)), spans
    covered = {at for begin, end in spans for at in range(begin, end)}
    plain = normalize(text, language=language, expand=False)
    kept = {at for char, (begin, end) in zip(plain.text, plain.origin, strict=True) for at in range(begin, end)
            if char.isalnum()}  # fmt: skip
    assert kept <= covered, [text[at] for at in sorted(kept - covered)]


HOSTILE = (
    *(
        "1,1,1,",
        "....",
        "a@",
        "$$$",
        "1",
        "1 ",
        "1.",
        "1,000,",
        "1-",
        "12:",
        "+1 ",
        "a.a@",
        "a.",
        "www.(",
        "1x",
        "(",
        "-",
    ),
    *(
        "http://a",
        "May 1 ",
        "etc. ",
        "1.1.1a",
        "1/",
        "½",
        "&",
        "IV ",
        "a.com/",
        "\"'",
        "1. ",
        "am 3. ",
        "1. und ",
        "3.10. ",
        "1:11 ",
        "1वा",
    ),
)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["en", "de", "hi", "hu"])
def test_hostile_text_takes_linear_time(language: str) -> None:
    """Four times the text may take ten times as long."""
    normalize("1", language=language)
    for unit in HOSTILE:
        short, long = (_seconds((unit * size)[:size], language) for size in (5_000, 20_000))
        assert long < 10 * short + 0.3, (unit, short, long)


def _seconds(text: str, language: str) -> float:
    """This thread's processor time, without collecting what other tests left: a busy machine does not matter."""
    gc.disable()
    begin = time.thread_time()
    normalize(text, language=language)
    taken = time.thread_time() - begin
    gc.enable()
    return taken
