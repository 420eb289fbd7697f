//! Words that say nothing about what a ticket is about: function words and the courtesies of letters, per language.
//! The frequency over a catalogue of eight labels does not find them, so they are listed.

/// ISO 639-1 code and its words, sorted by code.
pub(super) const STOP_WORDS: &[(&str, &str)] = &[
    (
        "da",
        "af alle alt at av blev bliver da de dem den denne der deres det dette dig din disse du efter eller en end er \
        et for fra få før ham han har havde hej hende her hun hvad hvis hvor i ikke ind jeg jer jo kan kunne man mange \
        med meget men mig min mit mod mine må ned noget nogle nu når og også om op os over på selv sig sin skal skulle \
        som sådan så tak til ud under var venlig hilsen vi vil ville vores være været",
    ),
    (
        "de",
        "aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim bin bis bist bitte da \
        dabei dadurch daher damit dann daran darauf das dass daß dazu dein deine dem den denn der deren des deshalb \
        dich die dies diese diesem diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines einige \
        einigen er es etwas euch euer für gegen gern gerne geehrte geehrter geehrten geehrtes gibt grüße grüßen gruß \
        hab habe haben hallo hat hatte hatten herr herzliche herzlichen hier hin hoffe ich ihm ihn ihnen ihr ihre \
        ihrem ihren ihrer im in indem ins ist ja jede jedem jeden jeder jedes jetzt kann kein keine können könnte \
        könnten liebe lieber liebes machen mal man mehr mein meine meinem meinen meiner mich mir mit mittels muss \
        möchte möchten müssen nach nicht noch nun nur ob oder ohne schon sehr sein seine seit sich sie sind so sobald \
        soll sollte sollten sondern sonst sowie über um und uns unser unsere unserem unseren unserer unter vielen viel \
        vom von vor voraus wann war waren warum was weil welche welcher wenn wer werde werden wie wieder will wir wird \
        wo worden wurde wurden würde würden zu zum zur zwischen dank danke freundliche freundlichen mfg damen herren \
        team frau zeit bedanke",
    ),
    (
        "en",
        "a about above after again against all also am an and any are aren't as at be because been before being below \
        between both but by can could couldn't did didn't do does doesn't doing don't done down during each few for \
        from further get gets getting got had hadn't has hasn't have haven't having he her here hers him his how how's \
        i i'd i'll i'm i've if in into is isn't it it's its itself just let let's like make makes may me might mine \
        more most much must my myself need needs no nor not now of off on once one only or other our ours out over own \
        same she should so some such than that that's the their them then there there's these they they're this those \
        through to too try trying under until up upon us use used uses using very want wants was wasn't way we we're \
        we've were weren't what what's when where which while who why will with within without won't would you you'd \
        you'll you're your yours dear hello hi hey thanks thank please regards kind best sincerely cheers greetings \
        team sir madam appreciate appreciated assist assistance help hope know looking forward tell something anything \
        someone anyone im ive dont cant doesnt didnt isnt wont thats whats id ill etc eg ie via per yet ever even still \
        really actually however therefore since whether",
    ),
    (
        "es",
        "a al algo algunas algunos ante antes aquí así aunque buenas buenos cada como con contra cordial cordiales \
        cual cuales cuando cómo de del desde donde dos durante día días e el ella ellas ellos en entre era es esa esas \
        ese eso esos esta estaba estado estamos estar estas este esto estos estoy está están estimado estimada \
        estimados favor fue fueron gracias gustaría ha haber hace hacer han has hasta hay he hemos hola la las le les \
        lo los mi mis mucho muchas muchos muy más me nada ni no nos nosotros nuestra nuestras nuestro nuestros o os \
        otra otro otros para pero poco podría podrían por porque pueda puede pueden puedo pues que quien quiero quisiera \
        qué saludo saludos se sea ser será si sido siempre sin sobre solo son su sus sí también tan tanto te tengo \
        tiene tienen toda todas todo todos tras tu tus un una unas uno unos usted ustedes ya y yo equipo señor señora \
        agradezco agradecería ayuda ayudar",
    ),
    (
        "fi",
        "ei eivät ehkä en et ette että he hei hän ja joka jos jotka jo kaikki kanssa kiitos koska kuin kun me mikä \
        minulla minun minä missä mitä mutta myös ne niin nyt näin oli olin olla olen olemme on ovat se sen siis sinä \
        sitä tai te terveisin tämä tässä vain voi voin voitte ystävällisin",
    ),
    (
        "fr",
        "afin ai ainsi alors après as au aucun aussi autre autres aux avait avant avec avez avoir avons bien bonjour \
        bonsoir c ça car ce cela celle celui ces cet cette chaque cher chère chez comme comment cordialement d dans de \
        depuis des deux devons dois doit donc dont du elle elles en encore entre es est et étaient était êtes être eu \
        eux fait faire faut il ils j jusqu je l la là le les leur leurs lors lorsque lui m ma madame mais me merci mes \
        moi moins mon monsieur même n ne ni non nos notre nous on ont ou où par parce pas pendant peu peut peuvent \
        plus plusieurs pour pourquoi pourriez pouvez pourrait qu quand que quel quelle quelles quels qui quoi s sa \
        salutations sans se sera serait ses si sommes son sont souhaite sous suis sur t ta te tes toi ton toujours \
        tous tout toute toutes très tu un une vers veuillez voici voilà vos votre vous voudrais y équipe aide aider \
        reconnaissant remercie",
    ),
    (
        "it",
        "a abbiamo ad ai al alla alle allo anche avere aveva avete c che chi ci ciao come con contro cordiali cosa \
        cui da dagli dai dal dalla dalle degli dei del dell della delle dello di dopo dove e è ed era erano essere fa \
        fare fra già gli grazie ha hai hanno ho i il in io l la le lei li lo loro lui ma me mi mia mio molto ne negli \
        nei nel nella nelle noi non nostra nostro o ogni per perché perchè più poi possibile potete può qual quale \
        quando quella quello questa queste questi questo qui quindi saluti salve se sei senza si sia siamo solo sono \
        sta stato su sua sue sugli sul sulla suo tra tutti tutto un una uno vi voi vorrei vostra vostro buongiorno \
        gentile aiuto",
    ),
    (
        "nl",
        "aan al alle als altijd ben bij dag dan dank dat de der deze die dit doen door dus een en er geen graag groet \
        groeten had hallo heb hebben heeft hem het hier hoe hun ik in is ja je jullie kan kon kunnen kunt maar me meer \
        met mij mijn moet moeten na naar niet nog nu of om omdat onder ons onze ook op over te tot u uit uw van veel \
        via voor vriendelijke want waren was wat we wel werd wie wij wil willen wordt worden zal ze zich zij zijn zo \
        zonder zou beste geachte alvast bedankt",
    ),
    (
        "no",
        "alle at av bare ble bli da de deg dem den denne der deres det dette din du eller en er et etter for fra få \
        ha hadde han har hei hennes her hilsen hun hva hvis hvor i ikke inn jeg kan kunne man mange med meg men mer \
        min mitt må noe noen nå når og også om opp oss over på seg sin skal som så takk til ut var vennlig vi vil \
        ville vår være vært",
    ),
    (
        "pl",
        "aby ale bardzo bez bo być był była było co czy dla do dzień dobry dziękuję gdy go i ich im ja jak jako jest \
        jestem jeszcze już które który która ma mam mi mnie może można mój na nad nam nas nasz nie niż o od on ona oni \
        oraz po pod pozdrawiam proszę przed przez przy są się tak tam te tego tej ten to tu tych tylko w we wam was z \
        za ze że",
    ),
    (
        "pt",
        "a agradeço ainda antes ao aos aquela aquele as assim até atenciosamente boa bom caro cara com como da das de \
        deles depois desde dia do dos e é ela elas ele eles em entre era essa esse esta estamos estar estas este estes \
        estou está estão eu favor foi foram gostaria há isso isto já lhe mais mas me mesmo meu meus minha minhas muito \
        muitos na nas nem no nos nossa nosso nossos não nós o obrigada obrigado olá onde os ou para pela pelas pelo \
        pelos podem poderia poderiam pode por porque posso prezado prezada prezados quais qual quando que quem qualquer \
        se sem ser será seu seus si sido sob sobre somos sou sua suas são só também te tem temos tenho ter toda todas \
        todo todos tudo um uma umas uns você vocês vos à às equipe senhor senhora ajuda ajudar saudações",
    ),
    (
        "ru",
        "а без более бы был была были было быть в вам вас ваш весь во вот все всех вы где да для до добрый день его \
        ее если есть еще же за здравствуйте и из или им их к как когда которые который кто ли меня мне можно мой моя \
        мы на над нам нас наш не него нет ни но о об он она они оно от очень по под пожалуйста почему при привет с со \
        спасибо так также там то того тоже только ты у уже уважением что чтобы эта это этого этой этот я",
    ),
    (
        "sv",
        "alla allt att av bara blev bli blir de dem den denna deras dess det detta dig din du där efter ej eller en \
        er ett för från få ha hade han har hej henne hjälp honom hon hur här i icke in inte ja jag kan kunde man med \
        mellan men mer mig min mitt mot mycket många ni nu när någon något några och om oss på samma sedan sig sin \
        skall ska som så tack till under upp ut utan vad var vara varför vi vid vill vår vänliga hälsningar är över",
    ),
    (
        "tr",
        "ama acaba bana bazı ben beni benim bir biz bize bizim bu bunu çok çünkü da daha de değil diye en gibi hem \
        her hiç için ile ise iyi kadar ki kim lütfen merhaba mi mı mu nasıl ne neden o olan olarak olduğu onu sanki \
        selam sen siz size sizin şey şu teşekkürler teşekkür tüm ve veya ya yani",
    ),
];
