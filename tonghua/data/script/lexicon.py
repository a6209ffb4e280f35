"""Words and patterns by which a Chinese novel marks who speaks, and how."""

import re

# One character maps to one, so positions in the simplified form are valid in the original.
SIMPLE = str.maketrans(
    "說問嘆罵應勸讚驚聲對聽見這個們還從後纔點頭轉邊開來過著淚氣臉緊趕於時輕緩連隨喚講責備囑釋斷話寫題書詩語裡裏兩幾將讓給眾誰",
    "说问叹骂应劝赞惊声对听见这个们还从后才点头转边开来过着泪气脸紧赶于时轻缓连随唤讲责备嘱释断话写题书诗语里里两几将让给众谁",
)


def word_list(text: str) -> frozenset[str]:
    """Return the words of a text, separated by white space, as a set."""
    return frozenset(text.split())


def either(text: str) -> str:
    """Return a regular expression that matches any of the words, the longest first."""
    return "(?:" + "|".join(sorted(text.split(), key=len, reverse=True)) + ")"


SPEECH = re.compile(
    "(?:(?<![知难街味轨频渠隧])道|(?<![小听据传学话])说|(?<![学疑顾])问|(?<![名])叫|"
    + either(
        """
        曰 云 答 笑 喊 嚷 骂 叹 吼 哭 劝 啐 喝 催 怒 应 回 讲 嗔 开口 回答 解释 反驳 补充 吩咐 嘱咐 叮嘱 提醒
        强调 宣布 追问 反问 质问 抱怨 嘀咕 嘟囔 嘟哝 咕哝 喃喃 自语 低语 感叹 感慨 打断 插嘴 附和 建议 命令 请求
        哀求 恳求 安慰 调侃 打趣 抗议 承认 否认 回应 应声 惊呼 高呼 发问 询问 招呼 问候 开腔 接话 搭话
        """
    )
    + ")(?:了|着|过)?(?:一声|一句|两声|几声|几句|起来|下去|出来|罢|毕|完)?$"
)

ADVERBS = word_list(
    """
    忙 便 又 就 也 却 因 只 方 才 乃 遂 即 都 还 再 更 仍 先 倒 冷 微 苦 大 轻 低 高 急 惊 怒 地 笑 叹 哭 骂 问
    答 说 回 应 喝 啐 嗔 喊 嚷 劝 催 赞 一面 一边 一旁 含泪 含笑 含怒 赔笑 陪笑 带笑 点头 点点头 摇头 摇摇头
    拍手 抚掌 拍案 掩口 掩嘴 拭泪 跺脚 顿足 咬牙 抿嘴 撇嘴 叹气 叹息 低声 高声 大声 轻声 小声 柔声 厉声 沉声
    朗声 颤声 悄声 失声 连声 正色 冷冷 淡淡 轻轻 缓缓 慢慢 徐徐 悄悄 幽幽 悠悠 喃喃 嘿嘿 呵呵 哈哈 嘻嘻 忽然
    突然 忽 连忙 急忙 慌忙 赶忙 赶紧 立刻 立即 马上 终于 只好 只得 不禁 不由得 不由 不觉 忍不住 接着 继续 接口
    跟着 随即 随后 这才 半晌 半日 半天 良久 许久 一时 回头 转头 扭头 转身 抬头 低头 皱眉 皱着眉 挑眉 起身 上前
    笑着 哭着 红着脸 平静 温和 认真 小心 不解 疑惑 好奇 无奈 得意 生气 着急 笑嘻嘻 笑吟吟 笑眯眯 笑呵呵 冷冰冰
    慢吞吞 慢悠悠 怯生生 气冲冲 气呼呼 急匆匆 懒洋洋 泪汪汪 恶狠狠 兴冲冲 羞答答 喜滋滋
    """
)
"""Words between a name and its verb that do not change who speaks."""

TOGETHER = ("齐声", "同声", "一齐", "异口同声", "同时")

AGAIN = re.compile("(?:因|便|忙|就|才|却)?(?:又|再|接着|继续)")

LEADS = word_list(
    """
    只听 只听得 只听见 忽听 忽听得 却听 但听 又听 便听 就听 听得 听见 只见 却见 忽见 但见 这时 那时 此时 当下
    一时 于是 然后 接着 随后 后来 原来 忽然 突然 结果 可是 但是 不过 但 不料 谁知 那边 旁边 唯有 还是 倒是 只有
    早有 便有 最后 终于
    """
)
"""Words that may come before the name at the start of a sentence."""

PRONOUNS = word_list(
    """
    他们 她们 它们 他 她 它 你们 你 您 那人 这人 此人 来人 有人 对方 二人 两人 三人 二位 两个人 谁 某人 其人
    """
)

TOWARDS = re.compile(
    "(?:对|向|朝|冲|问|劝|骂|叫|唤|拉|推|指|求|谢|喝|啐|嘱咐|吩咐|安慰|责备|打趣|告诉|招呼|望|看|瞧|瞪|盯|搂|抱|扶|附)"
    "(?:着|了|住|定|向|在)?$"
)

PERCEIVED = re.compile("(?:听|听见|听得|闻得|只听|忽听|等|待|让)$")

WITH = re.compile("(?:和|与|同|跟|、|及)$")

HEARS = re.compile("(?:便|又|也|忽|却|只)?(?:听|见|闻|等|待|让)(?!了|罢|毕|说|此|后|完|问)")

LISTENS = re.compile("[听见闻]")

OWNED = re.compile("[的之家]|身|屋|房|背后|那边|这边|房里|一行|等人")

ACTS = re.compile(
    "[便忙又就也却只才乃遂即还再更仍先半微含赔陪点摇拍低轻柔厉沉颤悄失淡缓慢忽突急赶立终不忍跟随回转抬皱起笑哭叹走站坐放拿拉推指看望瞧听见想"
    "把将从向对伸咬抿啐怔愣呆停沉默倚靠捧端拭掩叫问说闭睁眼心脸自]|一面|一边|一时|一手|一把|一下|一头|红着|冷笑|连忙|两手|双手|接着|用手"
)
"""The start of a clause that keeps the subject of the clause before it."""

SPEECH_WITHOUT_QUOTES = re.compile(r"(?<![知难街味轨频渠隧])[道说說问問曰](?:了|着)?[：:](?=\s*\S)")

SILENT = re.compile(
    "(?:想|思忖|寻思|暗忖|忖度|盘算)(?:道|着|到|说)?$|[心暗]道$|(?:心里|心中|心下|心内|暗暗|暗自).{0,6}$|"
    "(?:写|题|刻|印|书|批|念|吟|唱|读|诵)(?:着|道|了|有|的是|的)?$|上书$|是$|"
    "(?:俗话说|俗语说|俗语云|常言道|常言说|古人云|古语云|有道是|诗云|所谓|名叫|叫做|叫作|取名|题为|名为)$"
)

NOT_IN_NAMES = re.compile(
    "[的了着过是被不没很对向跟与给将听见看想说道问笑在把]|.[和同]|[来去起出下上里外后前时处边]$|^[忙便又就也却因只才乃遂即还再更仍先半]|^一(?![个位名])"
)

NOT_SPEAKERS = word_list(
    """
    旁白 字幕 注 注意 按 编剧 作者 书名 标题 剧名 人物 出场人物 登场人物 角色 地点 时间 场景 道具 音乐 音效 灯光
    备注 说明 提示 例如 比如 原因 结果 总之 第一 第二 第三 其一 其二 目录 简介 主题 日期 链接 来源 http https
    """
)

TITLES = word_list(
    """
    爷 老爷 先生 小姐 姑娘 公子 少爷 大人 将军 老师 师父 师傅 道长 大师 掌柜 老板 大哥 大姐 哥哥 姐姐 妹妹 弟弟 叔 伯
    婶 嫂 爷爷 奶奶 娘娘 陛下 殿下 女士 同学 博士 医生 队长 主任 经理
    """
)
"""Words after a name that may belong to the same person."""

NARRATORS = word_list("旁白 字幕 音乐 音效 灯光 场景 布景 道具 画面 镜头")
"""Labels of lines that nobody says."""

CLAUSE_ENDS = "。！？!?…～~"

SENTENCE_END = re.compile(r"[。！？!?；;…\n]+")

COMMA = re.compile("[，,：:]+")
